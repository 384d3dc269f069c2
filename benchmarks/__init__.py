"""What the claims of speed and quality rest on: code, and in results/ the tables that it wrote."""
