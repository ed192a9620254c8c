package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/latchkey-dev/latchkey/internal/password"
)

// hashPassword writes the hash of a password, which it never takes as an argument: arguments are seen by every process of the machine, and kept
// in the shell's history.
func hashPassword(args []string, in *os.File, out, messages io.Writer) error {
	flags := flag.NewFlagSet("hash-password", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	memory := flags.Uint("memory", uint(password.Default.Memory), "argon2id memory in `KiB`")
	passes := flags.Uint("time", uint(password.Default.Time), "argon2id `passes`")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(out, "Usage: latchkey hash-password [flags] < file\n\nReads one line; on a terminal it asks twice. Flags:")
			flags.SetOutput(out)
			flags.PrintDefaults()
			return err
		}
		return usageError{fmt.Errorf("hash-password: %w", err)}
	}
	if flags.NArg() > 0 {
		return usageError{errors.New("hash-password: the password comes from standard input, never from the command line")}
	}
	parameters := password.Default
	parameters.Memory, parameters.Time = uint32(min(*memory, 1<<31)), uint32(min(*passes, 1<<31))

	read := readLine
	if term.IsTerminal(int(in.Fd())) {
		read = ask
	}
	plain, err := read(in, messages)
	if err != nil {
		return fmt.Errorf("hash-password: %w", err)
	}
	if !utf8.Valid(plain) {
		return errors.New("hash-password: the password is not UTF-8, so nobody could sign in with it: sign-ins are JSON")
	}
	hash, err := password.New(plain, parameters)
	if err != nil {
		return fmt.Errorf("hash-password: %w", err)
	}
	_, err = fmt.Fprintln(out, hash.Encode())
	return err
}

// ask asks twice, without showing what is typed.
func ask(in *os.File, messages io.Writer) ([]byte, error) {
	var answers [2][]byte
	for i, question := range []string{"Password: ", "The same again: "} {
		fmt.Fprint(messages, question)
		answer, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(messages)
		if err != nil {
			return nil, err
		}
		answers[i] = answer
	}
	if !bytes.Equal(answers[0], answers[1]) {
		return nil, errors.New("these were two different passwords")
	}
	return answers[0], nil
}

// readLine takes one line, with or without its end, and refuses a second: a whole file is hardly meant as a password.
func readLine(in *os.File, _ io.Writer) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, password.MaxLength+3))
	if err != nil {
		return nil, err
	}
	line := bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	if bytes.ContainsAny(line, "\r\n") {
		return nil, errors.New("standard input has more than one line")
	}
	return line, nil
}
