"""What a law is, and the laws that we ship."""
