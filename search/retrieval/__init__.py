"""From vectors and words to a ranked list: first stage, cross-modal encoder, lexical search, fusion."""
