// Package reload puts another configuration in force while a process runs, without a
// moment in which there is none. All that follows from one reading of the configuration
// is a generation. The next one is built completely before anything changes, so that a file
// that is not good changes nothing; then it begins to run, is put in force, and only
// after that does the former one end.
package reload
