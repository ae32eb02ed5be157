// Package compat translates the configurations of programs that berth takes over from
// into berth's own. Each program has a file here, which knows the keys, the variables and
// the defaults of that program, and what they mean in berth.
//
// A translation is a text: config.Parse reads it as it reads berth's file, and the
// option --print-config prints it. The package has no behaviour beside that: what a
// translation cannot express, berth does not do, and nothing that runs knows of what its
// configuration was made. Passwords are beside the text, so that it can be shown.
//
// A mistake is reported at the file, the line and the key that the user has written,
// also where berth finds it in the translation.
package compat
