"""What reads memory and page cache from the operating system."""
