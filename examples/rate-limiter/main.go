// A rate limiter in front of a web page: at most LIMIT (10) requests of a client in a window of WINDOW (60s), counted in the
// server, so that all programs of a site count together.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// Limiter allows so many calls of each name in a window that begins with the first of them.
type Limiter struct {
	Store  redis.Cmdable
	Limit  int64
	Window time.Duration
}

// Verdict is what a limiter says to a call.
type Verdict struct {
	Allowed   bool
	Remaining int64
	// When the window ends.
	Reset time.Duration
}

// Allow counts a call. The counter appears with its time to live (SET NX), and SET, INCR and PTTL are one transaction: it
// neither expires between them nor stays without an end.
func (l *Limiter) Allow(ctx context.Context, name string) (Verdict, error) {
	key := "rate:" + name
	var count *redis.IntCmd
	var left *redis.DurationCmd
	_, err := l.Store.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.SetArgs(ctx, key, 0, redis.SetArgs{Mode: "NX", TTL: l.Window})
		count = tx.Incr(ctx, key)
		left = tx.PTTL(ctx, key)
		return nil
	})
	// That the counter was there already is no error.
	if err != nil && !errors.Is(err, redis.Nil) {
		return Verdict{}, err
	}
	if err := errors.Join(count.Err(), left.Err()); err != nil {
		return Verdict{}, err
	}
	return Verdict{count.Val() <= l.Limit, max(0, l.Limit-count.Val()), left.Val()}, nil
}

// Wrap limits a page by the clients' addresses, or by what they call themselves in X-Client.
func (l *Limiter) Wrap(page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Header.Get("X-Client")
		if name == "" {
			name, _, _ = net.SplitHostPort(r.RemoteAddr)
		}
		verdict, err := l.Allow(r.Context(), name)
		if err != nil {
			// A site rather goes on without its limiter than not at all.
			log.Printf("not limited: %v", err)
			page.ServeHTTP(w, r)
			return
		}
		w.Header().Set("X-RateLimit-Limit", strconv.FormatInt(l.Limit, 10))
		w.Header().Set("X-RateLimit-Remaining", strconv.FormatInt(verdict.Remaining, 10))
		if !verdict.Allowed {
			seconds := (verdict.Reset + time.Second - 1) / time.Second
			w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		page.ServeHTTP(w, r)
	})
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func run() error {
	options, err := redis.ParseURL(setting("REDIS_URL", "redis://127.0.0.1:6379"))
	if err != nil {
		return err
	}
	limit, err := strconv.ParseInt(setting("LIMIT", "10"), 10, 64)
	if err != nil {
		return err
	}
	window, err := time.ParseDuration(setting("WINDOW", "60s"))
	if err != nil {
		return err
	}
	store := redis.NewClient(options)
	defer store.Close()
	if err := store.Ping(context.Background()).Err(); err != nil {
		return err
	}
	limiter := &Limiter{store, limit, window}
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "Here you are.") })
	listener, err := net.Listen("tcp", "127.0.0.1:"+setting("PORT", "7004"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: limiter.Wrap(page)}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	fmt.Printf("listening on %d\n", listener.Addr().(*net.TCPAddr).Port)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
