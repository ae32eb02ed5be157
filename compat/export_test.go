package compat

// YaimText translates a text that is not in a file.
var YaimText = yaim
