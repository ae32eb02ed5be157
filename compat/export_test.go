package compat

// YaimText translates a text that is not in a file.
var YaimText = yaim

// CommandLine reads a command line, and returns the values of its flags, the mistakes, and
// the translation that begins with it.
func CommandLine(args []string, flags []Flag, getenv func(string) string) (values map[string][]string, mistakes []string, t *Translation, err error) {
	s, err := readCommandLine(args, flags, getenv)
	if err != nil {
		return nil, nil, nil, err
	}
	values = map[string][]string{}
	for key := range s.all {
		values[key] = s.each(key)
	}
	t = newCommandLine(s, flags, "key-file and secret-file").t
	for _, p := range s.problems {
		mistakes = append(mistakes, p.Error())
	}
	return values, mistakes, t, nil
}
