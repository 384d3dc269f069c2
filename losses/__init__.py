"""GAN losses and gradient penalties, one function each."""
