"""What a tokenizer is, as a spec writes it, and how it cuts text into tokens."""
