"""How good generated images are: FID, precision and recall, modes covered, memorisation."""
