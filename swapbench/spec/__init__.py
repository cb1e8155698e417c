"""What people write down: experiments, strategies, server presets, overrides."""
