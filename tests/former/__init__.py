"""Earlier releases of this program: their code from the history of Git, and data that they wrote."""
