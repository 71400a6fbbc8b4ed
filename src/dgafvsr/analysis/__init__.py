"""The paper's observations, measured on any model: motion compensation by domain (1) and by resolution (2)."""
