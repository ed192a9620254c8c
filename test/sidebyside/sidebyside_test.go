package sidebyside

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/latchkey-dev/latchkey/test/debian"
)

// The proxy that is measured has a core of its own; load and app share another.
const (
	proxyCore = "0"
	otherCore = "1"
)

const appAddress = "127.90.0.1:8080"

// reverseProxy names the variable that makes this program the plainest proxy there is in Go, on the address that it holds.
const reverseProxy = "SIDEBYSIDE_REVERSE_PROXY"

func TestMain(m *testing.M) {
	if address := os.Getenv(reverseProxy); address != "" {
		proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: appAddress})
		proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}
		panic(http.ListenAndServe(address, proxy))
	}
	if algorithm := os.Getenv(checkOnly); algorithm != "" {
		checkSignatures(algorithm)
		return
	}
	os.Exit(m.Run())
}

// BenchmarkSideBySide prints a table, and writes it as JSON to the file that RESULTS names. SECONDS is how long each proxy is loaded in
// each of ROUNDS: many short ones, for a shared machine may be faster by a third a minute later.
func BenchmarkSideBySide(b *testing.B) {
	if runtime.NumCPU() < 2 {
		b.Fatal("this takes two cores: one for the proxy, one for load and app")
	}
	seconds, rounds := number(b, "SECONDS", 1), number(b, "ROUNDS", 15)
	wrk, taskset := debian.Program(b, "wrk", "wrk"), debian.Program(b, "taskset", "util-linux")
	_ = debian.Program(b, "haproxy", "haproxy")
	_ = debian.Program(b, "nginx", "nginx-light")
	h2load := debian.Program(b, "h2load", "nghttp2-client")
	r := &rig{TB: b, dir: b.TempDir(), wrk: wrk, h2load: h2load, taskset: taskset, seconds: seconds, sent: map[string]int{}}
	r.startApp()
	r.sidecar = r.build("sidecar")
	proxies := r.proxies()
	r.keepToTheOtherCore()
	fmt.Printf("%d proxies, %d rounds of %d s each: about %s\n", len(proxies), rounds, seconds,
		time.Duration(len(proxies)*(rounds+1)*(seconds+1))*time.Second)
	results := make([]result, len(proxies))
	for i, each := range proxies {
		results[i].Name, results[i].Ready = each.name, each.ready
		if each.check == "" {
			results[i].IdleBytes = r.resident(each)
			r.load(each, 1) // connections, caches and heaps come to what they will be
		}
	}
	for round := range rounds {
		for i, each := range proxies {
			results[i].add(r.load(each, seconds))
			fmt.Printf("round %d: %-36s %6.1f us\n", round+1, each.name, results[i].last())
		}
	}
	for i, each := range proxies {
		if each.check != "" {
			continue
		}
		r.knowsOnlyWhatIsKnown(each)
		results[i].LoadedBytes = r.resident(each)
		results[i].P50, results[i].P99 = r.latency(each)
	}
	report(b, results)
}

func number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is no positive number", name, text)
	}
	return n
}

// rig is what the measurements share.
type rig struct {
	testing.TB
	dir, wrk, h2load, taskset, sidecar string
	seconds, started                   int
	sent                               map[string]int // requests by the proxy's name, so that its tokens go on in turn
}

// keepToTheOtherCore keeps this process off the proxy's core.
func (r *rig) keepToTheOtherCore() {
	core, _ := strconv.Atoi(otherCore)
	var set unix.CPUSet
	set.Set(core)
	tasks, err := os.ReadDir("/proc/self/task")
	check(r, err)
	for _, task := range tasks {
		id, _ := strconv.Atoi(task.Name())
		_ = unix.SchedSetaffinity(id, &set) // one may just have ended
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a program on a core until the measurements are over, and returns its process when it listens.
func (r *rig) start(core, address string, environment []string, program string, args ...string) int {
	r.Helper()
	cmd := exec.CommandContext(context.Background(), r.taskset, append([]string{"-c", core, program}, args...)...)
	cmd.Env = append(os.Environ(), environment...)
	log, err := os.Create(filepath.Join(r.dir, fmt.Sprintf("%d.log", r.started)))
	check(r, err)
	r.started++
	cmd.Stdout, cmd.Stderr = log, log
	check(r, cmd.Start())
	r.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = log.Close()
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return cmd.Process.Pid
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			r.Fatalf("%s does not listen on %s: %s", program, address, said)
		}
		<-time.After(time.Millisecond)
	}
}

func (r *rig) write(name, content string) string {
	r.Helper()
	path := filepath.Join(r.dir, name)
	check(r, os.MkdirAll(filepath.Dir(path), 0o700))
	check(r, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// startApp runs an app that answers 200 bytes as fast as anything can.
func (r *rig) startApp() {
	r.Helper()
	config := r.write("app.conf", nginxConfig("app", r.dir, "server { listen "+appAddress+"; location / { return 200 \""+strings.Repeat("0123456789", 20)+"\"; } }"))
	r.start(otherCore, appAddress, nil, "nginx", "-c", config, "-e", filepath.Join(r.dir, "app.err"))
}

func nginxConfig(name, dir, servers string) string {
	return fmt.Sprintf(`worker_processes 1; daemon off; master_process off; pid %[2]s/%[1]s.pid; error_log %[2]s/%[1]s.err;
events { worker_connections 2048; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_body_temp_path %[2]s/%[1]s.body; proxy_temp_path %[2]s/%[1]s.proxy;
  fastcgi_temp_path %[2]s/%[1]s.fcgi; uwsgi_temp_path %[2]s/%[1]s.uwsgi; scgi_temp_path %[2]s/%[1]s.scgi;
  %[3]s }
`, name, dir, servers)
}

// proxy is one that is measured.
type proxy struct {
	name    string
	address string
	tokens  []string // sent in turn; none sends none
	h2      bool     // over h2c, with the first token alone
	metrics string   // the URL of a sidecar's
	check   string   // no proxy at all, but checks of signatures of this algorithm
	pid     int
	ready   time.Duration // a sidecar's, from its start to the first answer that it is
}

// measure is one round of load.
type measure struct {
	requests int
	cpu      time.Duration // of the proxy
	elapsed  time.Duration
}

// load asks a proxy as fast as it answers, over all connections.
func (r *rig) load(p proxy, seconds int) measure {
	r.Helper()
	if p.check != "" {
		return r.checks(p.check, seconds)
	}
	before, began := r.cpu(p), time.Now()
	var output []byte
	var err error
	if p.h2 {
		output, err = exec.CommandContext(r.Context(), r.taskset, "-c", otherCore, r.h2load, "-c", "8", "-m", "8", "-t", "1", "-D", strconv.Itoa(seconds),
			"-H", "authorization: Bearer "+p.tokens[0], "http://"+p.address+"/orders/1").CombinedOutput()
	} else {
		cmd := exec.CommandContext(r.Context(), r.taskset, "-c", otherCore, r.wrk, "-t", "1", "-c", strconv.Itoa(connections), "-d", strconv.Itoa(seconds)+"s", "-s", r.script(p), "http://"+p.address+"/")
		cmd.Env = append(os.Environ(), fmt.Sprint("SENT=", r.sent[p.name]))
		output, err = cmd.CombinedOutput()
	}
	if err != nil {
		r.Fatalf("%s: %v: %s", p.name, err, output)
	}
	done := measure{requests: r.succeeded(p, string(output)), cpu: r.cpu(p) - before, elapsed: time.Since(began)}
	r.sent[p.name] += done.requests + connections // those that were cut off
	return done
}

// connections is how many are loaded at a time.
const connections = 32

// knowsOnlyWhatIsKnown fails if a sidecar that was sent known tokens has verified them more than once, or found some of those that were all to be new.
func (r *rig) knowsOnlyWhatIsKnown(p proxy) {
	r.Helper()
	if p.metrics == "" {
		return
	}
	response, err := http.Get(p.metrics)
	check(r, err)
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	check(r, err)
	count := func(result string) (n float64) {
		if _, rest, found := strings.Cut(string(text), `latchkey_sidecar_tokens_total{result="`+result+`"} `); found {
			n, err = strconv.ParseFloat(strings.Fields(rest)[0], 64)
			check(r, err)
		}
		return n
	}
	cached, verified := int(count("cached")), int(count("verified"))
	const atOnce = 64 // the same token, on as many connections
	if strings.HasPrefix(p.name, newTokens) && cached > verified/100 || !strings.HasPrefix(p.name, newTokens) && verified > len(p.tokens)+atOnce {
		r.Fatalf("%s: %d tokens were found in the cache, and %d were verified", p.name, cached, verified)
	}
}

// script is wrk's: all tokens in turn.
func (r *rig) script(p proxy) string {
	path := filepath.Join(r.dir, "wrk", strings.NewReplacer(" ", "-", ",", "", ":", "").Replace(p.name)+".lua")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	tokens := r.write(path[len(r.dir)+1:]+".tokens", strings.Join(p.tokens, "\n"))
	return r.write(path[len(r.dir)+1:], fmt.Sprintf(`
local requests, i = {}, tonumber(os.getenv("SENT"))
for line in io.lines(%q) do
  requests[#requests+1] = wrk.format("GET", "/orders/1", {["Host"] = "app", ["Accept"] = "*/*", ["User-Agent"] = "wrk", ["Authorization"] = "Bearer " .. line})
end
if #requests == 0 then requests[1] = wrk.format("GET", "/orders/1", {["Host"] = "app", ["Accept"] = "*/*", ["User-Agent"] = "wrk"}) end
request = function() i = i %% #requests + 1; return requests[i] end
`, tokens))
}

// succeeded reads how many requests were answered, and fails if not all were answered well.
func (r *rig) succeeded(p proxy, output string) int {
	r.Helper()
	if strings.Contains(output, "Non-2xx") || strings.Contains(output, "Socket errors") {
		r.Fatalf("%s: %s", p.name, output)
	}
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 3 && fields[1] == "requests" && fields[2] == "in": // wrk
			n, err := strconv.Atoi(fields[0])
			check(r, err)
			return n
		case len(fields) > 3 && fields[0] == "status" && fields[2] == "2xx,": // h2load: "status codes: N 2xx, ..."
			n, err := strconv.Atoi(fields[1])
			check(r, err)
			return n
		case len(fields) > 3 && fields[0] == "status" && fields[1] == "codes:":
			n, err := strconv.Atoi(fields[2])
			check(r, err)
			return n
		}
	}
	r.Fatalf("%s: no number of requests in %s", p.name, output)
	return 0
}

// processes are those of a proxy: the one that was started, and its children, as the sidecar has one.
func (r *rig) processes(p proxy) []string {
	r.Helper()
	if p.pid == 0 {
		return nil
	}
	own := strconv.Itoa(p.pid)
	files, err := filepath.Glob("/proc/" + own + "/task/*/children") // each thread has those that it made
	check(r, err)
	all := []string{own}
	for _, file := range files {
		children, _ := os.ReadFile(file) // the thread has just ended
		all = append(all, strings.Fields(string(children))...)
	}
	return all
}

// cpu is the time that the threads of a proxy have run for.
func (r *rig) cpu(p proxy) time.Duration {
	r.Helper()
	var total time.Duration
	for _, process := range r.processes(p) {
		files, err := filepath.Glob("/proc/" + process + "/task/*/schedstat")
		check(r, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // the thread has just ended
			}
			ran, _, _ := strings.Cut(string(text), " ")
			nanoseconds, err := strconv.ParseInt(ran, 10, 64)
			check(r, err)
			total += time.Duration(nanoseconds)
		}
	}
	return total
}

// resident is the memory of a proxy: what its processes have of their own, and the pages of the program's file once.
func (r *rig) resident(p proxy) int64 {
	r.Helper()
	var own, file int64
	for _, process := range r.processes(p) {
		text, err := os.ReadFile("/proc/" + process + "/status")
		check(r, err)
		own += r.kilobytes(string(text), "RssAnon:")
		file = max(file, r.kilobytes(string(text), "RssFile:"))
	}
	return (own + file) << 10
}

func (r *rig) kilobytes(status, name string) int64 {
	r.Helper()
	_, rest, _ := strings.Cut(status, name)
	kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	check(r, err)
	return kilobytes
}

// rate is at how many requests a second latency is measured, for two: what every proxy bears with ease.
const rate = 1000

// latency asks a proxy at a fixed rate, whether it has answered or not, and counts from when each request should have been sent.
func (r *rig) latency(p proxy) (p50, p99 time.Duration) {
	r.Helper()
	const total = 2 * rate
	took := make([]time.Duration, total)
	first := r.sent[p.name]
	r.sent[p.name] += total
	next, faults := make(chan int, total), make(chan error, connections)
	for i := range total {
		next <- i
	}
	close(next)
	began := time.Now().Add(50 * time.Millisecond)
	for range connections {
		go func() { faults <- p.ask(began, first, next, took) }()
	}
	for range connections {
		check(r, <-faults)
	}
	slices.Sort(took)
	return took[total/2], took[total*99/100]
}

func (p proxy) ask(began time.Time, first int, next <-chan int, took []time.Duration) error {
	transport := &http.Transport{MaxIdleConns: 1, DisableCompression: true}
	if p.h2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	defer transport.CloseIdleConnections()
	for i := range next {
		due := began.Add(time.Duration(i) * time.Second / rate)
		<-time.After(time.Until(due))
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+p.address+"/orders/1", nil)
		if err != nil {
			return err
		}
		if len(p.tokens) > 0 {
			request.Header.Set("Authorization", "Bearer "+p.tokens[(first+i)%len(p.tokens)])
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", p.name, err)
		case response.StatusCode != http.StatusOK:
			return fmt.Errorf("%s: %s", p.name, response.Status)
		}
		took[i] = time.Since(due)
	}
	return nil
}
