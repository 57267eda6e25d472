"""From vectors and words to a ranked list: first stage, cross-modal encoder, words, fusion."""
