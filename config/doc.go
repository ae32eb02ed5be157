// Package config turns berth's YAML file into checked values. Keys, meaning
// and defaults of the keys that floaty had are floaty's. The section of a
// provider stays a YAML node: this package knows no cloud.
//
// Each section has one file here, with its keys, defaults, checks and messages;
// top.go has the keys that stand in no section and reads the sections in order. The
// section of a provider is in the package of the provider.
//
// The package is strict: an unknown key is an error with its line, and Load reports
// every problem of a file at once. It does not guess: a duration without a unit is an
// error unless it is 0. No error repeats a value, which may be a secret at the wrong
// key, see package section. Located gives a line to mistakes that are found later,
// such as a secret that is missing. Secrets are of the type Secret, which no log,
// error or YAML encoder can print.
package config
