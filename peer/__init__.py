"""The peer: commands, chat and the Python API of Backchannel."""
