package proctree_test

var unixParts map[string]func(args []string) int
