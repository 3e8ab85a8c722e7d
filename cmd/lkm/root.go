// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/tape"
	"github.com/kernelext/kernelext/windows/wmi"
)

// Exit codes.
const (
	exitFindings   = 1 // findings or differences
	exitFatal      = 2 // wrong usage, a fatal error, or a name that matches nothing
	exitIncomplete = 3 // an answer is unknown; under --strict: something could not be read
)

// An exit is an error that only carries an exit code; its message is already printed.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// An app is one run of the command.
type app struct {
	ctx    context.Context // ends when the user interrupts
	wait   time.Duration   // for somebody to open the other end of a pipe
	args   []string
	stdin  io.Reader
	target io.Writer // what stdout writes to
	stdout *bufio.Writer
	stderr io.Writer
	out    screen              // what stdout goes to
	err    screen              // what stderr goes to
	env    func(string) string // a variable of the environment
	color  bool                // whether stdout is colored
	shown  map[string]bool     // problems that stdout shows

	progress *progress

	flags struct {
		color   string
		quiet   bool
		version bool
		format  string
		fields  []string
		field   string
		detail  string
		tape    string
		root    string
		os      string
		live    bool
		kernel  string
		host    string
		keys    []string
		catalog string
		wmi     bool
		exec    bool
		strict  bool
		explain bool
		verbose bool
	}
}

// run runs the command with the arguments after its name and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return newApp(args, stdin, stdout, stderr).run(ctx)
}

func newApp(args []string, stdin io.Reader, stdout, stderr io.Writer) *app {
	p := &progress{w: stderr, after: time.Second}
	return &app{ctx: context.Background(), wait: pipeWait, args: args, stdin: stdin,
		target: stdout, stdout: bufio.NewWriterSize(clearing{stdout, p}, 64<<10),
		stderr: clearing{stderr, p}, out: screenOf(stdout), err: screenOf(stderr), env: os.Getenv,
		shown: make(map[string]bool), progress: p}
}

func (a *app) run(ctx context.Context) int {
	a.ctx = ctx
	root := a.root()
	err := root.ExecuteContext(ctx)
	defer a.progress.end()
	var code exit
	if flushErr := a.stdout.Flush(); flushErr != nil && (err == nil || errors.As(err, &code)) {
		err = flushErr // an exit code is no answer without what stdout has to say
	}
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	a.note(err)
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(a.stderr, usage.usage)
	}
	return exitFatal
}

// note prints an error on stderr.
func (a *app) note(err error) {
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	text := strings.ReplaceAll(escape.Text(oneLine(err)), ": lkm: ", ": ")
	text = strings.TrimSuffix(text, ": "+errors.ErrUnsupported.Error()) // the rest says what is not supported
	if !strings.HasPrefix(text, "lkm: ") {
		text = "lkm: " + text
	}
	fmt.Fprintln(a.stderr, text)
}

const rootText = `lkm lists kernel extensions: Linux modules, FreeBSD klds, macOS kexts, Windows kernel-mode
drivers and their kin. It only reads: it loads nothing, changes nothing and runs no program.

Who knows the tools of one system finds here:
  lsmod, kldstat, kextstat, driverquery, modstat, genkex     lkm list
  modinfo, kldstat -v, kextfind                              lkm info
  modprobe -n -v --show-depends                              lkm plan
  modprobe -R, devmatch                                      lkm resolve
  modprobe -c                                                lkm config

Exit codes: 0 fine; 1 findings or differences; 2 usage, fatal error, or a name that matches nothing;
3 unknown (check, audit, a block list), or incomplete under --strict.`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "lkm",
		Short:         "What code has been, or could be, put into this kernel, from where, and how we know",
		Long:          rootText,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case a.flags.version:
				a.printVersion()
				return nil
			case len(args) > 0:
				return unknownCommand(c, args[0])
			}
			return c.Help()
		},
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return a.setUp(c) },
	}
	root.SetArgs(a.args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	f := root.PersistentFlags()
	f.SortFlags = false
	f.StringVar(&a.flags.color, "color", "auto", "mark what needs attention: `WHEN` is auto, always or never")
	root.Flags().BoolVarP(&a.flags.version, "version", "V", false, "print the version")
	root.SetFlagErrorFunc(a.flagError)
	root.AddCommand(a.list(), a.info(), a.tree(), a.resolve(), a.plan(), a.check(), a.config(), a.upgrade(), a.policy(),
		a.discrepancies(), a.diff(), a.watch(), a.sources(), a.record(), a.tape(), a.importCaptures(), a.version(),
		a.man(), a.facts(), a.export(), a.report(), a.mirror(), a.audit())
	root.SetHelpCommand(helpCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	completionHelp(root)
	addExamples(root)
	a.complete(root)
	inOurWords(root)
	return root
}

// helpCommand is cobra's help with our errors.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show what a command does, with its flags",
		RunE: func(c *cobra.Command, args []string) error {
			about := c.Root()
			for _, word := range args {
				next, _, err := about.Find([]string{word})
				if err != nil || next == about {
					return unknownCommand(about, word)
				}
				about = next
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			var words []string
			for _, sub := range c.Root().Commands() {
				if len(args) == 0 && sub.IsAvailableCommand() && strings.HasPrefix(sub.Name(), word) {
					words = append(words, sub.Name()+"\t"+sub.Short)
				}
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// setUp does what the flags of all commands ask for.
func (a *app) setUp(c *cobra.Command) error {
	if a.flags.quiet {
		a.stdout.Reset(io.Discard)
		a.out, a.err = screen{}, screen{}
	}
	if a.err.terminal && a.env("TERM") != "dumb" && !waits(c) {
		a.progress.begin(c.CommandPath())
	}
	return a.setColor()
}

// commonFlags adds the flags that say which machine to look at and how to print it.
func (a *app) commonFlags(c *cobra.Command) {
	f := c.Flags()
	f.SortFlags = false
	a.formatFlags(c)
	f.StringVar(&a.flags.detail, "detail", "",
		"also read `WHAT`: files,hashes,signatures,parameters,addresses,symbols,policy or all")
	f.StringVar(&a.flags.tape, "tape", "", "look at a recorded machine: `FILE`, or demo:NAME for one that comes "+
		"with lkm")
	f.StringVarP(&a.flags.root, "root", "r", "", "look at the machine whose root is mounted at `DIR`")
	f.BoolVar(&a.flags.live, "live", false, "with --root: its kernel is the one that runs here")
	f.StringVar(&a.flags.os, "os", "", "with --root: the operating `SYSTEM` of the image, if it is not recognized")
	f.StringVarP(&a.flags.kernel, "kernel", "k", "", "kernel `RELEASE` whose files to look at")
	a.hostFlag(c)
	f.StringSliceVar(&a.flags.keys, "keys", nil, "verify signatures by the certificates in `FILE` (PEM or DER)")
	f.StringVar(&a.flags.catalog, "catalogs", "", "also look for Windows drivers in the catalogs (*.cat) of `DIR`")
	f.BoolVar(&a.flags.wmi, "wmi", false, "also ask WMI, as a cross-check (Windows)")
	f.BoolVar(&a.flags.exec, "exec", false,
		"run the system's own tools when its calls fail (macOS: kmutil, kextstat, nvram, system_profiler)")
	f.BoolVar(&a.flags.strict, "strict", false, "exit 3 when something could not be read")
	f.BoolVarP(&a.flags.verbose, "verbose", "v", false, "show every problem, not a summary")
	f.BoolVarP(&a.flags.quiet, "quiet", "q", false, "print nothing but errors: the exit code is the answer")
	c.MarkFlagsMutuallyExclusive("tape", "root")
}

// hostFlag adds the flag that gives what a command writes the caller's name of the machine.
func (a *app) hostFlag(c *cobra.Command) {
	c.Flags().StringVar(&a.flags.host, "host", "", "the machine's `NAME`, for \"host\" in snapshots, "+
		"events and unredacted tapes")
}

func (a *app) formatFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&a.flags.format, "format", "table", "how to print: `FORMAT` is table, json, jsonl, csv or markdown")
	f.StringSliceVar(&a.flags.fields, "fields", nil,
		"columns: `FIELDS` by their JSON names, such as name,size,linux.srcversion")
}

// options returns the library's options for the flags.
func (a *app) options() (lkm.Options, error) {
	detail, err := lkm.ParseDetail(a.flags.detail)
	if err != nil {
		return lkm.Options{}, fmt.Errorf("--detail: %w", err)
	}
	if a.flags.live && a.flags.root == "" {
		return lkm.Options{}, errors.New("--live goes with --root")
	}
	if a.flags.os != "" && (a.flags.root == "" || a.flags.live) {
		return lkm.Options{}, errors.New("--os goes with --root, without --live")
	}
	o := lkm.Options{OS: lkm.OS(a.flags.os), Kernel: a.flags.kernel, Host: a.flags.host, Detail: detail,
		Exec: a.flags.exec, Workers: runtime.GOMAXPROCS(0)}
	if a.flags.live {
		o.HostRoot = a.flags.root
	}
	if o.Keys, err = a.readKeys(a.flags.keys); err != nil {
		return lkm.Options{}, err
	}
	if a.flags.catalog != "" {
		if o.Catalogs, err = folder(a.flags.catalog); err != nil {
			return lkm.Options{}, fmt.Errorf("--catalogs: %w", err)
		}
	}
	if a.flags.wmi {
		o.Call = wmi.Call
	}
	return o, nil
}

// open opens the machine that the flags name, with more details than they ask for.
func (a *app) open(more lkm.Detail) (*lkm.System, error) {
	return a.openWith(lkm.Options{Detail: more})
}

// openOnce is open for a single list, with files read of those modules only that only chooses; nil is all.
func (a *app) openOnce(more lkm.Detail, only func(*lkm.Module) bool) (*lkm.System, error) {
	return a.openWith(lkm.Options{Detail: more, Only: only, Once: true})
}

// openWith opens the machine that the flags name, as they and three of the options say: Detail, Only and Once.
func (a *app) openWith(with lkm.Options) (*lkm.System, error) {
	o, err := a.options()
	if err != nil {
		return nil, err
	}
	o.Detail |= with.Detail
	o.Only, o.Once = with.Only, with.Once
	switch {
	case a.flags.root != "" && !a.flags.live:
		fsys, err := lkm.Dir(a.flags.root)
		if err != nil {
			return nil, err
		}
		return lkm.OpenImage(fsys, o)
	case a.flags.tape == "":
		return lkm.Open(o)
	}
	t, err := a.openTape(a.flags.tape)
	if err != nil {
		return nil, err
	}
	return replay(t, o)
}

// replay opens the machine of a tape. Its name is the one that the tape keeps, unless the options give one.
func replay(t *tape.Tape, o lkm.Options) (*lkm.System, error) {
	h := t.Header()
	o.Host = cmp.Or(o.Host, h.Host)
	return lkm.OpenMachine(h.OS, t, o)
}

// oneLine is the text of an error that may be several, on one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// onSystem makes a command's action of f, for a command whose rows are not modules: it checks the
// format, and opens and closes the machine that the flags name.
func (a *app) onSystem(f func(ctx context.Context, sys *lkm.System, args []string) error) func(*cobra.Command,
	[]string) error {
	return func(c *cobra.Command, args []string) error {
		if err := a.checkTabular(); err != nil {
			return err
		}
		sys, err := a.open(0)
		if err != nil {
			return err
		}
		defer sys.Close()
		return f(c.Context(), sys, args)
	}
}

// strictly returns exit 3 when incomplete says why the answer is and --strict was given.
func (a *app) strictly(incomplete error) error {
	if incomplete == nil || !a.flags.strict {
		return nil
	}
	a.stdout.Flush() // "above" is what stdout shows
	said := 0
	for line := range strings.Lines(incomplete.Error()) {
		if line = strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "lkm: "); a.shown[line] && !a.flags.quiet {
			said++
			continue
		}
		fmt.Fprintln(a.stderr, "lkm: incomplete:", escape.Text(line))
	}
	if said > 0 {
		fmt.Fprintln(a.stderr, "lkm: incomplete: see \"not seen\" above")
	}
	return exit(exitIncomplete)
}
