"""What the documentation says of keys, columns and commands, made of their code; not in the wheel."""
