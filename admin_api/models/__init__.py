"""What travels: one module per resource. Requests accept no field that they do not know, and no value of another kind."""
