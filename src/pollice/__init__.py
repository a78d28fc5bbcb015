"""Train, prompt and honestly compare pretrained language models as judges of opinions."""
