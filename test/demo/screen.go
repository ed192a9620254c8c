package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/latchkey-dev/latchkey/test/installation"
)

// screen is where the demo is shown: in colour and with moving progress on a terminal, plain elsewhere.
type screen struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	colour   bool
	moving   bool // the last line shows progress, and gives way to whatever is shown next
}

func newScreen(out *os.File) *screen {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	return &screen{out: out, terminal: terminal, colour: terminal && os.Getenv("NO_COLOR") == ""}
}

// Styles are SGR parameters (ECMA-48): the colours of the reader's own terminal.
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (s *screen) paint(style, text string) string {
	if !s.colour || style == plain {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (s *screen) line(style, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveWay()
	fmt.Fprintln(s.out, s.paint(style, text))
}

// giveWay takes back a line that shows progress. The caller holds mu.
func (s *screen) giveWay() {
	if s.moving {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.moving = false
	}
}

func (s *screen) title(text string) { s.line(bold, text) }
func (s *screen) chapter(text string) {
	s.line(bold, "\n"+text+"\n"+strings.Repeat("─", utf8.RuneCountInString(text)))
}
func (s *screen) note(text string)     { s.line(dim, text) }
func (s *screen) trouble(err error)    { s.line(red, "\n✗ "+err.Error()) }
func (s *screen) command(text string)  { s.line(cyan, indent("$ "+text)) }
func (s *screen) indented(text string) { s.line(plain, indent(text)) }
func (s *screen) blank()               { s.line(plain, "") }

// heading opens a check.
func (s *screen) heading(number int, name string) {
	s.line(bold, fmt.Sprintf("\n%d. %s\n", number, name))
}

// verdict closes a check.
func (s *screen) verdict(err error, fact string) {
	if err != nil {
		s.line(red, indent("✗ "+err.Error()))
		return
	}
	s.line(plain, indent(s.paint(green, "✓ ")+fact))
}

// progress shows that something is going on, until done is called with what came of it.
type progress struct {
	screen *screen
	text   string
	began  time.Time
	mu     sync.Mutex
	status string
	stop   chan struct{}
	ended  sync.WaitGroup
}

func (s *screen) progress(text string) *progress {
	p := &progress{screen: s, text: text, began: time.Now(), stop: make(chan struct{})}
	interval := 100 * time.Millisecond
	if !s.terminal {
		interval = 5 * time.Second // a line each time
	}
	p.ended.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for turn := 0; ; turn++ {
			p.show(turn)
			select {
			case <-p.stop:
				return
			case <-ticker.C:
			}
		}
	})
	return p
}

func (p *progress) show(turn int) {
	p.mu.Lock()
	status := p.status
	p.mu.Unlock()
	if status != "" {
		status = ": " + status
	}
	switch wheel := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"); {
	case p.screen.terminal:
		line := fmt.Sprintf("  %c %s%s", wheel[turn%len(wheel)], p.text, status)
		if runes := []rune(line); len(runes) > 100 {
			line = string(runes[:99]) + "…" // a line that wraps could not be taken back
		}
		p.screen.mu.Lock()
		p.screen.giveWay()
		fmt.Fprintf(p.screen.out, "%s %s", line, p.screen.paint(dim, short(time.Since(p.began))))
		p.screen.moving = true
		p.screen.mu.Unlock()
	case turn > 0:
		p.screen.line(plain, fmt.Sprintf("  · %s%s  %s", p.text, status, short(time.Since(p.began))))
	}
}

func (p *progress) say(status string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = status
}

func (p *progress) done(err error, result string) {
	close(p.stop)
	p.ended.Wait()
	mark := p.screen.paint(green, "✓")
	if err != nil {
		mark = p.screen.paint(red, "✗")
	}
	if result != "" {
		result = ": " + result
	}
	p.screen.line(plain, "  "+mark+" "+p.text+result+p.screen.paint(dim, "  "+short(time.Since(p.began))))
}

// step shows the progress of something that takes a while.
func (s *screen) step(text string, do func(say func(string)) (result string, err error)) (err error) {
	p := s.progress(text)
	result := ""
	defer func() { p.done(err, result) }()
	err = errors.New("given up") // as it stays when a trial ends in the middle of do
	result, err = do(p.say)
	return err
}

// await shows the progress of something that is asked again and again until it has come about, or limit has passed.
func await(ctx context.Context, s *screen, text string, limit time.Duration, ask func() (done bool, status string)) error {
	return s.step(text, func(say func(string)) (string, error) {
		return poll(ctx, limit, func() (bool, string) {
			done, status := ask()
			say(status)
			return done, status
		})
	})
}

// poll asks every 20 ms. The error says what was the case last.
func poll(ctx context.Context, limit time.Duration, ask func() (done bool, status string)) (string, error) {
	status, err := installation.Await(ctx, limit, ask)
	return status, interrupted(ctx, err)
}

const margin = "   "

func indent(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = margin + line
		}
	}
	return strings.Join(lines, "\n")
}

// short writes a duration as a person would.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// pad fills text with spaces on the right, counting characters and not bytes.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}
