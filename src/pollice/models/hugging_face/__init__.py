"""Training with the libraries of Hugging Face: Trainer, TRL and PEFT."""
