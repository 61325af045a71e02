"""The relay: forwards sealed envelopes by addressee and can read none of them."""
