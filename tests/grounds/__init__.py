"""What released versions of Ratchet left in the world. Tests hold today's code against it."""
