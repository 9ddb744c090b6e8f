/* Work for two threads: the caller's and one more, where the system grants it. */
#ifndef CIDRGATE_WORKERS_H
#define CIDRGATE_WORKERS_H

#include <pthread.h>
#include <signal.h>
#include <stddef.h>

typedef struct {
    void (*work)(void *);
    void *shared;
} cidrgate_task;

static inline void cidrgate_open_lock(pthread_mutex_t *lock) { pthread_mutex_init(lock, NULL); }

static void *cidrgate_run_task(void *given) {
    const cidrgate_task *task = (const cidrgate_task *)given;
    task->work(task->shared);
    return NULL;
}

/* Calls `work` here and, at the same time, in a second thread, and returns when both calls have ended. Without a second
 * thread it is called here only, so one call must be able to do all of the work. The thread handles no signals: they
 * are for the program's own threads. */
static inline void cidrgate_work_twice(void (*work)(void *), void *shared) {
    cidrgate_task task = {work, shared};
    pthread_t helper;
    sigset_t all, before;
    int helped;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    helped = pthread_create(&helper, NULL, cidrgate_run_task, &task) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    work(shared);
    if (helped) pthread_join(helper, NULL);
}

#endif
