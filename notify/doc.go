// Package notify turns the arguments of a keepalived notify script into one
// event, and ends the process that an earlier invocation left running for the
// same instance. keepalived starts a notify script without waiting for the end of
// earlier ones (keepalived.conf(5), notify).
package notify
