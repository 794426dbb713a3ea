"""How few answers a search needs: procedures replayed on stored answers to every setting."""
