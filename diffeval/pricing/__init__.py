"""What work will take, by stage: measured on small pieces of the very work, before it is begun."""
