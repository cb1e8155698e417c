"""Stand-ins for published checkpoints: synthetic ones of full size, and minis."""
