"""What a peer does, without a socket or a clock: deliveries in, requests and news out, storage passed in."""
