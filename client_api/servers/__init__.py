"""The model servers: where they are, their queues, and how blocks are sent."""
