"""The field guide: drawings of invented birds and fruit with all attributes known, and the models shipped with it."""
