"""What asking a vendor over HTTP takes: connections, failures by their names, the guard of the tests. Nothing
here is public; the rooms that ask are `providers` and `embedders`."""
