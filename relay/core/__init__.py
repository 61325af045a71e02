"""The relay's rules, without a socket: frames of connections come in, deliveries go out, and time is an argument."""
