"""One room per wire language, and the factory that caps their connections."""
