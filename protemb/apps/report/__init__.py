"""From finished runs to a report: gather, compare, explain, say in words, write."""
