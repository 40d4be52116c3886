#include "admin/process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Of "pid (name) S …": the name may hold anything, so counting begins behind the last ")". */
static void read_stat(rl_process_load *out)
{
    char text[1024];
    unsigned long long started;
    unsigned long size;
    long pages;
    struct timespec up, now;
    FILE *f = fopen("/proc/self/stat", "re");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

    if (f)
        fclose(f);
    text[n] = '\0';
    const char *at = strrchr(text, ')');
    if (!at || sscanf(at + 1,
                      " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
                      "%*d %llu %lu %ld",
                      &started, &size, &pages) != 3)
        return;
    out->virtual = (double)size;
    out->resident = (double)pages * (double)sysconf(_SC_PAGESIZE);
    clock_gettime(CLOCK_BOOTTIME, &up);
    clock_gettime(CLOCK_REALTIME, &now);
    out->started_at =
        (double)now.tv_sec - (double)up.tv_sec + (double)started / (double)sysconf(_SC_CLK_TCK);
}

static double count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    double n = 0;

    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the directory itself */
}

void rl_process_load_read(rl_process_load *out)
{
    struct timespec cpu;
    struct rlimit limit;

    *out = (rl_process_load){0};
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
        out->cpu_seconds = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        out->max_fds = (double)limit.rlim_cur;
    out->open_fds = count_descriptors();
    read_stat(out);
}
