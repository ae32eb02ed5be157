package main

import (
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents returns the texts that are about the tree as it is, by path; the
// changelog is about what it was.
func documents(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, path := range append(paths, "README.md", "CONTRIBUTING.md", "SECURITY.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = string(text)
	}
	return all
}

var (
	block    = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	// repoPath is a path from the root of the project; one with a placeholder, such
	// as providers/<cloud>/, is not one.
	repoPath   = regexp.MustCompile(`^[\w.][\w./-]*$`)
	identifier = regexp.MustCompile(`^([a-z]\w*)\.([A-Z]\w*)(?:\.(\w+))?(?:\(\))?$`)
	makeCall   = regexp.MustCompile(`\bmake ([a-z][a-z0-9-]*)`)
	makeTarget = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`)
)

// anchors returns what links to a document may end in, as GitHub makes it of the
// headings.
func anchors(text string) []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
		plain := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		all = append(all, regexp.MustCompile(`[^\w-]`).ReplaceAllString(plain, ""))
	}
	return all
}

func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	docs := documents(t)
	for path, text := range docs {
		for _, m := range link.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
				if _, err := os.Stat(target); err != nil {
					t.Errorf("%s: the link %s leads nowhere: %v", path, m[1], err)
				}
			}
			if anchor != "" && !slices.Contains(anchors(docs[target]), anchor) {
				t.Errorf("%s: the link %s leads to no heading of %s", path, m[1], target)
			}
		}
	}
}

// placeholder is a part of a path, of a file or of a key in etcd, for which a user has a
// word: the path is none of the tree.
var placeholder = regexp.MustCompile(`/[A-Z]+(/|$)`)

// A document that names a file, a directory, a package or a Go identifier names one
// that exists.
func TestDocumentsNameWhatIsInTheTree(t *testing.T) {
	out, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	there, tops, bases := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for path := range strings.FieldsSeq(string(out)) {
		bases[filepath.Base(path)] = true
		for there[path] = true; path != "."; path = filepath.Dir(path) {
			there[path] = true
			tops[path] = tops[path] || filepath.Dir(path) == "."
		}
	}
	names := map[string][]*types.Package{}
	for _, p := range packages(t) {
		names[p.types.Name()] = append(names[p.types.Name()], p.types)
	}
	for path, text := range documents(t) {
		for _, m := range codeSpan.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
			span := strings.TrimSuffix(strings.TrimPrefix(m[1], "./"), "/")
			first, _, deep := strings.Cut(span, "/")
			ownFile := strings.HasSuffix(span, ".go") || strings.HasSuffix(span, ".txtar")
			if repoPath.MatchString(span) && !placeholder.MatchString(span) && (deep && tops[first] || ownFile) && !there[span] && !there[filepath.Join(filepath.Dir(path), span)] && (deep || !bases[span]) {
				t.Errorf("%s names %s, which is not in the tree", path, m[1])
			}
			if id := identifier.FindStringSubmatch(span); id != nil && len(names[id[1]]) > 0 && !ownFile {
				if !slices.ContainsFunc(names[id[1]], func(p *types.Package) bool { return declares(p, id[2], id[3]) }) {
					t.Errorf("%s names %s, which package %s does not declare", path, m[1], id[1])
				}
			}
		}
	}
}

// declares reports whether a package has a name, and the type of that name a field or
// method, if member is not "".
func declares(p *types.Package, name, member string) bool {
	o := p.Scope().Lookup(name)
	if o == nil || member == "" {
		return o != nil
	}
	found, _, _ := types.LookupFieldOrMethod(o.Type(), true, p, member)
	return found != nil
}

// A reader of the README finds each document in its list.
func TestTheListOfDocumentsIsComplete(t *testing.T) {
	docs := documents(t)
	_, list, _ := strings.Cut(docs["README.md"], "\n## Documents\n")
	list, _, _ = strings.Cut(list, "\n## ")
	for path := range docs {
		if strings.HasPrefix(path, "docs/") && !strings.Contains(list, "]("+path+")") {
			t.Errorf("the list of documents in README.md lacks %s", path)
		}
	}
}

func TestEveryPackageIsOnTheMap(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, "berth/")
		if filepath.Dir(path) == "providers" {
			path = "providers" // a folder for each cloud
		}
		if path != "berth" && !strings.Contains(string(text), "`"+path+"`") {
			t.Errorf("docs/architecture.md does not name %s", path)
		}
	}
}

// Each target of the Makefile is explained, and each that is named exists.
func TestDocumentsNameTheTargetsOfTheMakefile(t *testing.T) {
	text, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range makeTarget.FindAllStringSubmatch(string(text), -1) {
		targets = append(targets, m[1])
	}
	docs := documents(t)
	for path, text := range docs {
		for _, span := range append(codeSpan.FindAllString(text, -1), block.FindAllString(text, -1)...) {
			for _, m := range makeCall.FindAllStringSubmatch(span, -1) {
				if !slices.Contains(targets, m[1]) {
					t.Errorf("%s names make %s, which the Makefile does not have", path, m[1])
				}
			}
		}
	}
	for _, target := range targets {
		if !regexp.MustCompile(`make ` + target + `\b`).MatchString(docs["CONTRIBUTING.md"]) {
			t.Errorf("CONTRIBUTING.md does not say what make %s does", target)
		}
	}
}
