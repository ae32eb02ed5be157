package keepalived

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	watched = journal.Kind{Code: "keepalived-watched", Level: zap.InfoLevel,
		Text: "watching keepalived"}
	unwatchable = journal.Kind{Code: "keepalived-unwatchable", Level: zap.ErrorLevel,
		Text: "cannot watch keepalived"}
	// polled and notFound have no message of recovery: the event watched shows that
	// another process of keepalived is watched.
	polled = journal.Kind{Code: "keepalived-polled", Level: zap.WarnLevel,
		Text: "keepalived is watched by looking at /proc again and again; allow berth the system calls pidfd_open and pidfd_send_signal (with Docker: a seccomp profile that has them)"}
	notFound = journal.Kind{Code: "keepalived-not-found", Level: zap.WarnLevel,
		Text: "no keepalived found; its death is noticed only when no process has had the FIFO open to write for two seconds; correct keepalived-pid-file, or run berth in keepalived's PID namespace"}

	notParent = journal.Kind{Code: "keepalived-not-parent", Level: zap.WarnLevel,
		Text: "berth was not started by keepalived; the keepalived that runs is watched instead of the parent process"}
	senderNotFound = journal.Kind{Code: "keepalived-sender-not-found", Level: zap.WarnLevel,
		Text: "berth was not started by keepalived, and no keepalived is found: its death will not be noticed; correct keepalived-pid-file, or leave the script in the foreground"}
	senderDied = journal.Kind{Code: "keepalived-sender-died", Level: zap.WarnLevel,
		Text: "not acting on a MASTER: the keepalived that sent it has died since, as it has left its pid file and no keepalived runs that is older than this process; if one does, in another PID namespace, leave the script in the foreground"}

	versionUnknown = journal.Kind{Code: "keepalived-version-unknown", Level: zap.WarnLevel,
		Text: "reading keepalived's configuration as the newest known version does; set keepalived-version"}
	versionBeyond = journal.Kind{Code: "keepalived-version-beyond", Level: zap.WarnLevel,
		Text: "keepalived has a version that berth does not know; its configuration is read as that of the nearest known one; update the older one of berth and keepalived, or set keepalived-version"}
	versionAssumed = journal.Kind{Code: "keepalived-version-assumed", Level: zap.InfoLevel,
		Text: "no keepalived was found; its configuration is read as the newest known version does until one is; set keepalived-version"}
	versionRunning = journal.Kind{Code: "keepalived-version-running", Level: zap.InfoLevel,
		Text: "the keepalived that runs is not the installed one; its configuration is read as the running one does"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{watched, unwatchable, polled, notFound, notParent, senderNotFound, senderDied, versionUnknown, versionBeyond, versionAssumed, versionRunning}
