"""Designs judged before they are trained: what they can identify, and which runs help most."""
