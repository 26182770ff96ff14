"""The whole loop on one machine: starts every program, and what a person does on its pages."""
