package config

// Parse reads a configuration that is not in a file.
var Parse = parse
