"""Networks: cards, sessions, tiles and what comes of them, from pixels to maps and candidates."""
