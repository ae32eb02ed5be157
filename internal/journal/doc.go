// Package journal turns what happens in a process into events with stable codes.
// Log lines and metrics follow from them, and so will hooks, a history and a page.
// It logs a failure once, and its recovery; no other package does that by hand.
//
// A package declares its kinds of events in its events.go, beside the code that tells them:
//
//	var unwritable = journal.Kind{Code: "status-unwritable", Level: zap.WarnLevel,
//		Text: "cannot write the status files", Over: "the status files are written again"}
//
//	// Events are the kinds that this package declares.
//	var Events = []journal.Kind{unwritable}
//
// Tell tells an event that merely happens. A state that lasts is a Condition: the part
// that sees it calls Fail at each failure and Clear at each success, and the journal
// decides which lines are logged:
//
//	w.writing = j.Condition()         // once, when the part is made
//	w.writing.Fail(unwritable, err)   // at each failure
//	w.writing.Clear()                 // at each success
//	w.writing.Drop()                  // when the part ends before the process
//
// Parts that are built together and end together, before the process, get a journal of
// Part, which drops all their conditions at the end.
//
// docs/messages.md lists all codes; a test compares it with the declarations.
package journal
