"""What each contestant is asked to do, and what is read off it. `catalogue.py` lists them all."""
