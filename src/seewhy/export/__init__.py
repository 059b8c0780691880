"""A run as others take it up: a merged model, an adapter, training data, each with a card, and a push to the Hub."""
