package sidebyside

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// result is what was measured of one proxy: of each round, then of all.
type result struct {
	Name         string
	Microseconds []float64 // of CPU a request, by round
	Rates        []float64 // requests a second on one core, by round
	Median       float64   // of Microseconds
	Ratio        float64   // median of the rounds' ratios to the first proxy
	P50, P99     time.Duration
	Ready        time.Duration `json:",omitzero"` // from its start
	IdleBytes    int64         // resident
	LoadedBytes  int64
}

func (r *result) add(m measure) {
	r.Microseconds = append(r.Microseconds, float64(m.cpu.Microseconds())/float64(m.requests))
	r.Rates = append(r.Rates, float64(m.requests)/m.elapsed.Seconds())
}

// to returns the median of the rounds' ratios to another: a machine that is shared is faster in one round than in the next, for all alike.
func (r *result) to(other result) float64 { return r.onTopOf(result{}, other) }

// onTopOf is the same for what comes on top of a third.
func (r *result) onTopOf(base, other result) float64 {
	ratios := make([]float64, len(r.Microseconds))
	for round, own := range r.Microseconds {
		if base.Microseconds != nil {
			own -= base.Microseconds[round]
		}
		ratios[round] = own / other.Microseconds[round]
	}
	return median(ratios)
}

func (r *result) last() float64 { return r.Microseconds[len(r.Microseconds)-1] }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// report prints the table, and writes everything to the file that RESULTS names.
func report(t testing.TB, results []result) {
	t.Helper()
	for i := range results {
		results[i].Median = median(results[i].Microseconds)
		results[i].Ratio = results[i].to(results[0])
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "proxy\tus CPU a request\tratio\trequests/s\tp50\tp99\tMB idle\tMB loaded\t")
	for _, each := range results {
		if each.LoadedBytes == 0 { // no proxy
			fmt.Fprintf(table, "%s\t%.1f\t%.2f\t%.0f\t\t\t\t\t\n", each.Name, each.Median, each.Ratio, median(each.Rates))
			continue
		}
		fmt.Fprintf(table, "%s\t%.1f\t%.2f\t%.0f\t%s\t%s\t%.1f\t%.1f\t\n", each.Name, each.Median, each.Ratio, median(each.Rates),
			each.P50.Round(10*time.Microsecond), each.P99.Round(10*time.Microsecond), float64(each.IdleBytes)/1e6, float64(each.LoadedBytes)/1e6)
	}
	check(t, table.Flush())
	fmt.Printf("%s, %d cores, %s; latency at %d requests a second, counted from when each should have been sent\n", processor(), runtime.NumCPU(), runtime.Version(), rate)
	goals := goalsOf(results)
	for _, each := range goals {
		fmt.Printf("%-60s %6.2f, goal %.2f\n", each.Name, each.Got, each.Goal)
	}
	writeResults(t, map[string]any{"proxies": results, "goals": goals})
}

// writeResults writes what was measured to the file that RESULTS names, with the machine.
func writeResults(t testing.TB, results map[string]any) {
	t.Helper()
	path := os.Getenv("RESULTS")
	if path == "" {
		return
	}
	results["processor"], results["cores"], results["go"], results["time"] = processor(), runtime.NumCPU(), runtime.Version(), time.Now().UTC()
	data, err := json.MarshalIndent(results, "", "  ")
	check(t, err)
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, append(data, '\n'), 0o644))
	fmt.Println("written to", path)
}

// goal is one that the project has set itself: as a ratio within the run, or in MB.
type goal struct {
	Name      string
	Got, Goal float64
}

func goalsOf(results []result) []goal {
	of := func(name string) result {
		i := slices.IndexFunc(results, func(r result) bool { return r.Name == name })
		return results[i]
	}
	known, rules, issuers := of(knownTokens), of(manyRules), of(manyIssuers)
	goals := []goal{
		{"known token, to HAProxy's plain proxying", known.to(of(plainHAProxy)), 1.15},
		{"500 rules, to 20", rules.to(known), 1},
		{"50 issuers, to one", issuers.to(known), 1},
		{"MB at rest", float64(known.IdleBytes) / 1e6, 15},
		{"ms from the start of a sidecar until it is ready", ready(results), 100},
	}
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		fresh := of(newTokens + algorithm)
		goals = append(goals,
			goal{"new token " + algorithm + ", what comes on top, to the check alone", fresh.onTopOf(known, of(checkAlone+algorithm)), 1.2},
			goal{"MB with 10,000 tokens " + algorithm, float64(fresh.LoadedBytes) / 1e6, 30})
	}
	return goals
}

// ready is the median of what the sidecars took, in ms.
func ready(results []result) float64 {
	var all []float64
	for _, each := range results {
		if each.Ready > 0 {
			all = append(all, float64(each.Ready.Microseconds())/1e3)
		}
	}
	return median(all)
}

// processor is what the kernel calls it.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}
