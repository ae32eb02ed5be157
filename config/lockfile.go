package config

import (
	"net/url"
	"strings"
)

// FloatyLockFileTemplate is the default of lock-file-template for a binary
// called as floaty.
const FloatyLockFileTemplate = "/var/lock/floaty-%s.lock"

// LockFile returns the path of the lock of an instance. The name is escaped
// as a path segment of a URL is, so that it can hold any byte.
func (c *Config) LockFile(instance string) string {
	return fillTemplate(c.LockFileTemplate, instance)
}

// FormerLockFile returns the path that was the default of earlier versions of
// berth for the lock of an instance, or "" where the configuration names a
// template. The lock at this path counts too, because such a version may still run
// or be installed again.
func (c *Config) FormerLockFile(instance string) string {
	if !c.OwnLockDirectory {
		return ""
	}
	return fillTemplate("/var/lock/berth-%s.lock", instance)
}

func fillTemplate(template, instance string) string {
	at := strings.LastIndex(template, "%s")
	return template[:at] + EscapeName(instance) + template[at+len("%s"):]
}

// EscapeName makes one file name of an instance name, which may hold any byte.
func EscapeName(instance string) string {
	switch instance {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return url.PathEscape(instance)
}
